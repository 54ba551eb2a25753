"""Routing: which receiver gets which alert, and when. Pure, except for ``tree_file``."""
