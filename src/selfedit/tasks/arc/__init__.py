"""Few-shot ARC: grids, tasks, augmentation tools, the self-edit as a tool call, and answering by
vote.
"""
