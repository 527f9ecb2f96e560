"""Numbers as people read them: bytes, durations, counts. The window and the shell say them alike."""

KIB = 1024
MIB = 1024**2
GIB = 1024**3

SECONDS_PER_MINUTE = 60
SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86400


def format_bytes(count: float) -> str:
    """``6657199309`` -> ``"6.2 GiB"``; one decimal from MiB on."""
    size = abs(count)
    sign = "-" if count < 0 else ""
    for unit, scale in (("TiB", 1024**4), ("GiB", GIB), ("MiB", MIB)):
        if size >= scale:
            return f"{sign}{size / scale:,.1f} {unit}"
    if size >= KIB:
        return f"{sign}{size / KIB:.0f} KiB"
    return f"{sign}{size:.0f} B"


def format_count(count: float) -> str:
    """``4884480`` -> ``"4.9 M"``; three significant digits at most, exact below a thousand."""
    size = abs(count)
    sign = "-" if count < 0 else ""
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= (scale if unit == "k" else 0.9995 * scale):  # 999.9 M would be rounded to 1000 M
            scaled = size / scale
            return f"{sign}{scaled:.0f} {unit}" if scaled >= 100 else f"{sign}{scaled:.1f} {unit}"
    return f"{sign}{size:.0f}"


def format_duration(seconds: float) -> str:
    """``2290`` -> ``"38 min"``; two units at most, never more digits than anyone acts on."""
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 10 * SECONDS_PER_MINUTE:
        minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if seconds < SECONDS_PER_HOUR:
        return f"{seconds / SECONDS_PER_MINUTE:.0f} min"
    if seconds < SECONDS_PER_DAY:
        hours, rest = divmod(round(seconds / SECONDS_PER_MINUTE), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(round(seconds / SECONDS_PER_HOUR), 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def format_share(share: float) -> str:
    """``0.0036`` -> ``"0.36 %"``."""
    return f"{share * 100:.2f} %" if share < 0.1 else f"{share * 100:.0f} %"


def format_energy(watt_hours: float) -> str:
    """``512.4`` -> ``"512 Wh"``; kilowatt-hours from a thousand on."""
    if watt_hours >= 1000:
        return f"{watt_hours / 1000:,.1f} kWh"
    return f"{watt_hours:.0f} Wh" if watt_hours >= 10 else f"{watt_hours:.1f} Wh"
