"""Does the live channel live through an hour in which all around it fails?"""
