"""Asset checks: promises measured again on stored tables; a failed blocking check stops every asset below."""
