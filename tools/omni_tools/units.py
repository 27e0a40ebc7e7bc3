"""Units and exact conversions between them. Factors are to the SI unit, by definition where there is one (SP 811)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

from omni.errors import BadInput


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: `value` of it is `value * factor + offset` in the base unit of its `kind`."""

    name: str
    plural: str
    kind: str
    factor: F
    offset: F = F(0)


#: kind -> lines of "name plural factor aliases...". Factors may be fractions.
_TABLE = {
    "length": """
        metre metres 1 m meter meters
        kilometre kilometres 1000 km kilometer kilometers kms
        centimetre centimetres 1/100 cm centimeter centimeters
        millimetre millimetres 1/1000 mm millimeter millimeters
        mile miles 1609344/1000 mi
        yard yards 9144/10000 yd yds
        foot feet 3048/10000 ft
        inch inches 254/10000 in
        nautical_mile nautical_miles 1852 nmi""",
    "mass": """
        kilogram kilograms 1 kg kilo kilos kgs
        gram grams 1/1000 g gramme grammes
        milligram milligrams 1/1000000 mg
        tonne tonnes 1000 t metric_ton metric_tons
        pound pounds 45359237/100000000 lb lbs
        ounce ounces 28349523125/1000000000000 oz
        stone stones 635029318/100000000 st""",
    "volume": """
        litre litres 1 l liter liters
        millilitre millilitres 1/1000 ml milliliter milliliters
        decilitre decilitres 1/10 dl deciliter deciliters
        centilitre centilitres 1/100 cl centiliter centiliters
        cubic_metre cubic_metres 1000 m3 cubic_meter cubic_meters
        gallon gallons 3785411784/1000000000 gal
        quart quarts 946352946/1000000000 qt
        pint pints 473176473/1000000000 pt
        cup cups 2365882365/10000000000
        fluid_ounce fluid_ounces 295735295625/10000000000000 floz
        tablespoon tablespoons 1478676478125/100000000000000 tbsp
        teaspoon teaspoons 492892159375/100000000000000 tsp""",
    "time": """
        second seconds 1 s sec secs
        millisecond milliseconds 1/1000 ms
        minute minutes 60 min mins
        hour hours 3600 h hr hrs
        day days 86400
        week weeks 604800
        year years 31557600""",
    "speed": """
        metre_per_second metres_per_second 1 m/s meters_per_second meter_per_second
        kilometre_per_hour kilometres_per_hour 10/36 km/h kmh kph kilometers_per_hour kilometer_per_hour
        mile_per_hour miles_per_hour 44704/100000 mph
        knot knots 1852/3600 kn""",
    "area": """
        square_metre square_metres 1 m2 sqm square_meter square_meters
        square_kilometre square_kilometres 1000000 km2 square_kilometer square_kilometers
        square_foot square_feet 9290304/100000000 sqft
        square_inch square_inches 64516/100000000
        square_mile square_miles 2589988110336/1000000
        hectare hectares 10000 ha
        acre acres 40468564224/10000000""",
    "data": """
        byte bytes 1 b
        kilobyte kilobytes 1000 kb
        megabyte megabytes 1000000 mb
        gigabyte gigabytes 1000000000 gb
        terabyte terabytes 1000000000000 tb
        kibibyte kibibytes 1024 kib
        mebibyte mebibytes 1048576 mib
        gibibyte gibibytes 1073741824 gib
        bit bits 1/8
        megabit megabits 125000 mbit""",
    "energy": """
        joule joules 1 j
        kilojoule kilojoules 1000 kj
        calorie calories 4184/1000 cal
        kilocalorie kilocalories 4184 kcal
        watt_hour watt_hours 3600 wh
        kilowatt_hour kilowatt_hours 3600000 kwh""",
    "pressure": """
        pascal pascals 1 pa
        kilopascal kilopascals 1000 kpa
        bar bars 100000
        atmosphere atmospheres 101325 atm""",
    "angle": """
        degree_of_arc degrees_of_arc 1 arc_degrees
        full_turn full_turns 360 revolutions""",
}

_TEMPERATURES = (
    (Unit("degree Celsius", "degrees Celsius", "temperature", F(1), F(27315, 100)), "celsius centigrade c °c"),
    (Unit("degree Fahrenheit", "degrees Fahrenheit", "temperature", F(5, 9), F(45967, 180)), "fahrenheit f °f"),
    (Unit("kelvin", "kelvin", "temperature", F(1)), "kelvin kelvins k"),
)


def _build() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for kind, lines in _TABLE.items():
        for line in lines.strip().splitlines():
            name, plural, factor, *aliases = line.split()
            unit = Unit(name.replace("_", " "), plural.replace("_", " "), kind, F(factor))
            for alias in (name, plural, *aliases):
                units[alias.replace("_", " ")] = unit
    for unit, aliases in _TEMPERATURES:
        for alias in aliases.split():
            units[alias] = unit
            units[f"degrees {alias}"] = units[f"degree {alias}"] = unit
    return units


#: Every name a unit goes by.
UNITS = _build()


def find(name: str) -> Unit | None:
    """The unit of this name, in whatever form it is said."""
    cleaned = " ".join(name.lower().replace(".", " ").split())
    return UNITS.get(cleaned)


def convert(value: F, source: Unit, target: Unit) -> F:
    """`value` of one unit in another, exactly. Raises `BadInput` where they measure different things."""
    if source.kind != target.kind:
        raise BadInput(f"{source.plural} measure {source.kind} and {target.plural} measure {target.kind}.")
    return (value * source.factor + source.offset - target.offset) / target.factor
