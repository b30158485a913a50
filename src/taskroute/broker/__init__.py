"""The only package that knows kombu: sessions that each own one broker connection."""
