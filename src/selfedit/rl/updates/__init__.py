"""Updates: what the policy learns from scored trials. One file is one update, chosen by
``rl.update``.
"""
