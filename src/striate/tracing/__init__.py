"""The table of any network by running it without arithmetic, and what mends one that does not run.

trace(module, (3, 32, 32))          every layer's size, cost, memory and receptive field
trace_design(parse("..."))          the same for a design, strict as on a blackboard
smallest_input(module, channels=3)  the question backwards
"""

from striate.tracing.blackboard import trace_design
from striate.tracing.table import BrokenNetwork, Row, Table, smallest_input, trace

__all__ = ["BrokenNetwork", "Row", "Table", "smallest_input", "trace", "trace_design"]
