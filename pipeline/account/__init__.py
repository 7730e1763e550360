"""From a placed network and its spikes to events, energy and time, core by core."""
