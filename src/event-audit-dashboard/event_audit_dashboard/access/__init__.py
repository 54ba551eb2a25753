"""Sign-in, sessions and roles of users."""
