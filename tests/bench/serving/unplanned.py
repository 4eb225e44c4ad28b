"""Our predictor as it serves a pipeline that cannot be compiled: scikit-learn itself, behind micro-batches."""

import sys

from kubeloop.serving import model
from kubeloop.serving.predictor import main

model.load_scorer = lambda package: None
sys.exit(main(sys.argv[1:]))
