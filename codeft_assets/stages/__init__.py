"""Curation bound to shards: functions that run in worker processes, one call a unit of work.

Each function takes picklable arguments and yields ``ShardResult``s; each ``*_stage`` names what its result depends on.
"""
