"""What the API answers with, member by member: for the OpenAPI document, which the tests hold every answer against.

The routes build their answers themselves (`views`): nothing is checked a second time while somebody waits.
"""
