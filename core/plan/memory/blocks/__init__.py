"""Decoder layers of model families, written down for the ledger."""
