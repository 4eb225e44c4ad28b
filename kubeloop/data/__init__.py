"""Sources, joins, snapshots, rules and quarantine, splitting."""
