"""A small company whose working days, and bad days, are told as audit events. Pure and seeded.

``story.tell`` weaves ``attacks`` into ``benign`` work; ``world`` holds the people and machines.
"""
