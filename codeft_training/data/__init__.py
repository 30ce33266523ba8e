"""Data: corpus folder, tokenizer, encoding, packed rows, batches."""
