"""From a network to the cores of a chip: rules, formats, cuts, placement on the mesh."""
