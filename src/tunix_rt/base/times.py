"""Parser of every time that comes from outside: query parameters, bodies, cursors, command-line options, run files."""

from datetime import UTC, datetime


def parse_utc(value: object, *, zone_required: bool = False) -> datetime:
    """Parse an ISO 8601 time, and convert it to UTC.

    Args:
        value: text such as `2026-01-31` or `2026-01-31T12:00:00Z`, or a datetime. Without a zone it is UTC.
        zone_required: refuse a time without a zone.

    Raises:
        ValueError: not a time, no zone where one is required, or outside the years 1 to 9999 once in UTC: neither
            Python nor a database can represent that.
    """
    if isinstance(value, datetime):
        time = value
    elif isinstance(value, str):
        try:
            time = datetime.fromisoformat(value.upper())  # RFC 3339 allows t and z in lower case
        except ValueError:
            raise ValueError("is not a time; write it as 2026-01-31T12:00:00Z") from None
    else:
        raise ValueError("is not a time; write it as the text 2026-01-31T12:00:00Z")
    if time.tzinfo is None:
        if zone_required:
            raise ValueError("has no zone; write it as 2026-01-31T12:00:00Z")
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None
