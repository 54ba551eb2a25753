"""The way of a change: what to build, what each environment runs, and how it moves on."""
