"""Rules and formats of evidence. No browser, no store; the network only in the two clients."""
