"""How good a served model is: measured where the truth is known and mature, estimated where it is not."""
