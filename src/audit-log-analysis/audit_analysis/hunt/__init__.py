"""Retro-hunt: finds what live detection would have found in archived events.

The rules, the matcher and the windows are those of live detection. Its result depends on two facts
that an event does not contain: when the analysis received the event, and the order in which events
arrived. The archive stores both.
"""
