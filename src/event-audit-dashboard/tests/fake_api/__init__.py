"""An HTTP server with the API of the notification service and generated alerts.

``python -m fake_api`` (in the folder of these tests) starts it with a dashboard and adds a new
alert every 20 seconds, for work on the pages.
"""

from .sample_alerts import alert, hostile, stamp
from .server import TOKEN, FakeApi

__all__ = ["TOKEN", "FakeApi", "alert", "hostile", "stamp"]
