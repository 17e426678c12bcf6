"""The corpus: a server of everything that is hard to record, which writes down what it sent and was asked."""
