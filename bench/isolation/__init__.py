"""Does the live channel slow the durable writer down, or cost it a record?"""
