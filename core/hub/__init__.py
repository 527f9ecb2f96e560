"""The Hugging Face Hub: finding models, downloading them into the standard cache, and the user's token.

Nothing is sent but what was asked for: no telemetry, no list of installed packages, no identifiers. Plain HTTP of the
standard library, because the hub's own library gives up what has come of a file when a download is interrupted, and
takes a tenth of a second to import in a program that has a window to draw.
"""
