"""On-call schedules from iCal files."""
