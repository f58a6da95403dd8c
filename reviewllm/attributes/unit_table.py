"""The units that shops write: their one spelling here, pint's name, and the words that stand for them.

The spelling is pint's short symbol where it has one that people write ('kg', 'in', 'fl_oz' for its 'floz').
"""

from __future__ import annotations

from typing import NamedTuple


class Unit(NamedTuple):
    """A unit by pint's name ('' where pint has none to compare it with), and the words for it, in lower case."""

    pint: str
    words: tuple[str, ...]


def _plural(*words: str) -> tuple[str, ...]:
    return tuple(form for word in words for form in (word, f"{word}s"))


UNITS: dict[str, Unit] = {
    # mass
    "kg": Unit("kilogram", ("kgs", "kilo", "kilos", *_plural("kilogram", "kilogramme"))),
    "g": Unit("gram", ("gm", "gms", *_plural("gram", "gramme"))),
    "mg": Unit("milligram", _plural("milligram")),
    "µg": Unit("microgram", ("mcg", "ug", "μg", *_plural("microgram"))),
    "lb": Unit("pound", ("lbs", *_plural("pound"))),
    "oz": Unit("ounce", ("ozs", *_plural("ounce"))),
    "ton": Unit("ton", ("tons",)),
    "t": Unit("tonne", (*_plural("tonne", "metric ton"),)),
    "carat": Unit("carat", ("carats", "ctw")),
    # length
    "nm": Unit("nanometer", _plural("nanometer", "nanometre")),
    "µm": Unit("micrometer", ("um", "μm", *_plural("micron", "micrometer", "micrometre"))),
    "mm": Unit("millimeter", _plural("millimeter", "millimetre")),
    "cm": Unit("centimeter", ("cms", *_plural("centimeter", "centimetre"))),
    "m": Unit("meter", _plural("meter", "metre")),
    "km": Unit("kilometer", ("kms", *_plural("kilometer", "kilometre"))),
    "in": Unit("inch", ("inch", "inches", "ins", '"', "″", "”", "''", "’’")),
    "ft": Unit("foot", ("foot", "feet", "'", "′", "’")),
    "yd": Unit("yard", ("yds", *_plural("yard"))),
    "mi": Unit("mile", _plural("mile")),
    # area
    "in^2": Unit("inch^2", ("sq in", "sq inch", "square inch", "square inches", "in²")),
    "ft^2": Unit("foot^2", ("sq ft", "sqft", "sq feet", "square foot", "square feet", "ft²")),
    "cm^2": Unit("centimeter^2", ("sq cm", "square centimeters", "square centimetres", "cm²")),
    "m^2": Unit("meter^2", ("sq m", "square meters", "square metres", "m²")),
    # volume
    "l": Unit("liter", ("ltr", "ltrs", *_plural("liter", "litre"))),
    "ml": Unit("milliliter", ("mls", "cc", *_plural("milliliter", "millilitre"))),
    "cl": Unit("centiliter", _plural("centiliter", "centilitre")),
    "fl_oz": Unit("fluid_ounce", ("floz", *_plural("fl oz", "fl ounce", "fluid ounce"))),
    "gal": Unit("gallon", ("gals", *_plural("gallon"))),
    "qt": Unit("quart", ("qts", *_plural("quart"))),
    "pint": Unit("pint", ("pints",)),
    "cup": Unit("cup", ("cups",)),
    "tbsp": Unit("tablespoon", _plural("tablespoon")),
    "tsp": Unit("teaspoon", _plural("teaspoon")),
    "in^3": Unit("inch^3", ("cu in", "cubic inch", "cubic inches", "in³")),
    "ft^3": Unit("foot^3", ("cu ft", "cubic foot", "cubic feet", "ft³")),
    "cm^3": Unit("centimeter^3", ("cu cm", "cubic centimeters", "cubic centimetres", "cm³")),
    "m^3": Unit("meter^3", ("cu m", "cubic meters", "cubic metres", "m³")),
    # electricity, power, energy
    "mV": Unit("millivolt", _plural("millivolt")),
    "V": Unit("volt", ("vac", "vdc", *_plural("volt"))),
    "kV": Unit("kilovolt", _plural("kilovolt")),
    "mA": Unit("milliampere", _plural("milliamp", "milliampere")),
    "A": Unit("ampere", _plural("amp", "ampere")),
    "mAh": Unit("milliampere * hour", _plural("milliamp hour", "milliampere hour")),
    "Ah": Unit("ampere * hour", _plural("amp hour", "ampere hour")),
    "mW": Unit("milliwatt", _plural("milliwatt")),
    "W": Unit("watt", _plural("watt")),
    "kW": Unit("kilowatt", _plural("kilowatt")),
    "Wh": Unit("watt * hour", _plural("watt hour")),
    "kWh": Unit("kilowatt * hour", _plural("kilowatt hour")),
    "hp": Unit("horsepower", ("horsepower",)),
    "kcal": Unit("kilocalorie", _plural("kilocalorie")),
    "J": Unit("joule", _plural("joule")),
    "BTU": Unit("Btu", ("btus",)),
    "ohm": Unit("ohm", ("ohms", "ω", "Ω")),
    # frequency, speed, turning
    "Hz": Unit("hertz", ("hertz",)),
    "kHz": Unit("kilohertz", ("kilohertz",)),
    "MHz": Unit("megahertz", ("megahertz",)),
    "GHz": Unit("gigahertz", ("gigahertz",)),
    "rpm": Unit("revolution / minute", ()),
    "mph": Unit("mile / hour", ("miles per hour",)),
    "km/h": Unit("kilometer / hour", ("kph", "kmh", "kilometers per hour", "kilometres per hour")),
    # data, pictures
    "kB": Unit("kilobyte", _plural("kilobyte")),
    "MB": Unit("megabyte", _plural("megabyte")),
    "GB": Unit("gigabyte", _plural("gigabyte")),
    "TB": Unit("terabyte", _plural("terabyte")),
    "Mbps": Unit("megabit / second", ("mbit/s", "mb/s")),
    "Gbps": Unit("gigabit / second", ("gbit/s", "gb/s")),
    "px": Unit("pixel", _plural("pixel")),
    "MP": Unit("megapixel", _plural("megapixel")),
    "dpi": Unit("dot / inch", ()),
    # light, heat, sound, pressure, force
    "lm": Unit("lumen", _plural("lumen")),
    "lx": Unit("lux", ("lux",)),
    "K": Unit("kelvin", ("kelvin",)),
    "degC": Unit("degree_Celsius", ("°c", "℃", "° c", "degrees c", "degrees celsius", "degree celsius")),
    "degF": Unit("degree_Fahrenheit", ("°f", "℉", "° f", "degrees f", "degrees fahrenheit", "degree fahrenheit")),
    "deg": Unit("degree", ("°", *_plural("degree"))),
    "dB": Unit("", _plural("decibel")),
    "psi": Unit("psi", ()),
    "bar": Unit("bar", ()),
    "kPa": Unit("kilopascal", _plural("kilopascal")),
    "Nm": Unit("newton * meter", ("n m", *_plural("newton meter", "newton metre"))),
    "ft_lb": Unit("foot_pound", ("ft lbs", *_plural("foot pound"))),
    # time
    "ms": Unit("millisecond", _plural("millisecond")),
    "s": Unit("second", ("sec", "secs", *_plural("second"))),
    "min": Unit("minute", ("mins", *_plural("minute"))),
    "h": Unit("hour", ("hr", "hrs", *_plural("hour"))),
    "day": Unit("day", ("days",)),
    "week": Unit("week", ("weeks", "wk", "wks")),
    "month": Unit("month", ("months", "mo", "mos")),
    "year": Unit("year", ("years", "yr", "yrs")),
    # shares and numbers of things
    "%": Unit("percent", ("percent",)),
    "count": Unit("count", ("counts", "ct", "pc", "pcs", *_plural("piece"))),
    "pack": Unit("", ("packs", "pk", "pks")),
}
# '5' 4"' and '1 lb 3 oz': the first is so many of the second.
COMPOUNDS = {("ft", "in"): 12, ("lb", "oz"): 16, ("h", "min"): 60, ("min", "s"): 60, ("year", "month"): 12}
