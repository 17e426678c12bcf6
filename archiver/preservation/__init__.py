"""What happens to captures after they are stored: receipts, holds, deletion, audits, copies."""
