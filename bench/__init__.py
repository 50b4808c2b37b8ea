"""How fast is the live channel, and does it keep its promises while it is?"""
