"""Ways out of here: a merged model, an adapter, a GGUF file, each with its card, and onto a hub."""
