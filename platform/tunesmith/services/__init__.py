"""What the platform does: functions with a store transaction first, called by every surface alike."""
