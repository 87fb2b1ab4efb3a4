"""Generated clips whose causes are known: one physical state drives pictures, sound and events."""
