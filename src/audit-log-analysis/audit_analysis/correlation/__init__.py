"""Correlates events: feeds them to the windows of rules, and makes findings from the results."""
