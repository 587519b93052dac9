"""The project's own passages and questions, all invented, so that no model can know the answers
beforehand.

``train.json`` holds 16 passages to learn from, ``heldout.json`` 8 to test on: the demo's.
``learn.json`` (80), ``choose.json`` (24) and the sealed ones (56) are a second, larger set with
harder questions; ``docs/corpus.md`` says what each part may be used for and how it was made. Every
name, place and number in them was made up for this project. Load a part with
``load_contexts("corpus:train")``.
"""
