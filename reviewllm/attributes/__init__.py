"""Product attributes: one flat JSON object an item, of names in one spelling and values with their units.

values.py      what an attribute can be; reading and writing the text of a column
unit_table.py  the units that shops write
units.py       quantities in running text, and whether two are the same
names.py       one spelling of a name
leaves.py      what one text of a source says
normalise.py   whatever a source says -> flat attributes, and what happened on the way
salience.py    which attributes matter most
serialise.py   attributes as the text of a prompt, in five forms
schema.py      JSON Schema of attributes
"""
