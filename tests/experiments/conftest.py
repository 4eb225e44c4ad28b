"""Experiments for the tests of the search."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from kubeloop.data.tables import write_table

PLAIN = yaml.safe_load("""
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: bowl, namespace: team}
spec:
  objective: {type: minimize, objectiveMetricName: loss, additionalMetricNames: [depth]}
  algorithm:
    algorithmName: random
    algorithmSettings: [{name: random_state, value: "7"}]
  parallelTrialCount: 1
  maxTrialCount: 6
  maxFailedTrialCount: 2
  parameters:
    - {name: lr, parameterType: double, feasibleSpace: {min: "0.01", max: "0.05", step: "0.01"}}
    - {name: momentum, parameterType: double, feasibleSpace: {min: "0.5", max: "0.9", step: "0.1"}}
    - {name: layers, parameterType: int, feasibleSpace: {min: "1", max: "4"}}
    - {name: optimizer, parameterType: categorical, feasibleSpace: {list: [sgd, adam]}}
  trialTemplate:
    primaryContainerName: training
    trialParameters:
      - {name: rate, reference: lr}
      - {name: momentum, reference: momentum}
      - {name: layers, reference: layers}
      - {name: optimizer, reference: optimizer}
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec:
        backoffLimit: 0
        activeDeadlineSeconds: 60
        template:
          metadata: {labels: {sidecar.istio.io/inject: "false"}}
          spec:
            restartPolicy: Never
            containers:
              - name: training
                image: example.org/trial:1
                resources: {limits: {cpu: "1", memory: 1Gi}}
                command:
                  - awk
                  - -f
                  - PROGRAM
                  - "-vlr=${trialParameters.rate}"
                  - "-vmomentum=${trialParameters.momentum}"
                  - "-vlayers=${trialParameters.layers}"
                  - "-voptimizer=${trialParameters.optimizer}"
""")


BOWL = 'BEGIN { printf "loss=%s\\ndepth=%s\\n", (lr - 0.03) ^ 2 + (momentum - 0.7) ^ 2, layers }\n'


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Makes an Experiment without findings whose program runs anywhere; words replace parts of its `spec`."""

    program = tmp_path / "bowl.awk"
    program.write_text(BOWL)

    def make(**spec: Any) -> dict[str, Any]:
        document = copy.deepcopy(PLAIN)
        pod = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
        pod["containers"][0]["command"][2] = str(program)
        document["spec"] |= spec
        return document

    return make


def write_development(folder: Path) -> Path:
    """120 rows in three folds: `ill` follows `dose`, and `junk` nothing."""
    rng = np.random.default_rng(3)
    dose, n = rng.normal(size=120), 120
    frame = pd.DataFrame({"dose": dose, "junk": rng.normal(size=n)})
    frame["ill"] = np.where(dose + rng.normal(size=n) > 0, "yes", "no")
    frame["_fold"] = np.arange(n) % 3
    write_table(pa.Table.from_pandas(frame, preserve_index=False), folder)
    return folder


@pytest.fixture
def development(tmp_path: Path) -> Path:
    return write_development(tmp_path / "development")
