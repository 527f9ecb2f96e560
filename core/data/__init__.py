"""From files to tokens: formats, row shapes, templates, labels, order, packing. No torch, no transformers."""
