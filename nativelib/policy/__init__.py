"""What a platform tag allows: policies as data, and one judge.

``values`` has the values, ``load`` expands the packaged data, ``user`` a user's own, ``judge`` decides. Import from
``judge``.
"""
