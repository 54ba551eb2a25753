"""Convert records of other systems to events. Pure: bytes in, events or faults out.

``sources.SOURCES`` is the table of all sources. Each source has an adapter module with two
functions: ``split`` divides a body into records, ``to_event`` converts one record to an ``Event``.
``batch.convert`` applies them to a request.
"""
