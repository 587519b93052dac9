"""The language model: loading it, prompts as ids, many adapters in one pass, decoding, losses."""
