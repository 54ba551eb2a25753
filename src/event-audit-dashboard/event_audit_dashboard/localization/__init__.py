"""The language and the time zone in which a user sees pages."""
