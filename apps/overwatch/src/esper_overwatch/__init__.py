"""esper-overwatch: monitors over Esper run directories."""
