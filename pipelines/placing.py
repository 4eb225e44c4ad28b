"""What every task of every pipeline gets: site, run id, resources, a timeout, a caching rule."""

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineChannel

import kubeloop
from kubeloop.site.load import SITE, SITE_YAML

SECRET_FOLDER = "/etc/kubeloop/secret"  # noqa: S105 - a place, not a secret


def place(
    task: dsl.PipelineTask,
    *,
    site: PipelineChannel,
    cpu: PipelineChannel,
    memory: PipelineChannel,
    cached: bool,
    timeout_s: int,
) -> dsl.PipelineTask:
    """Give a task its surroundings.

    Args:
        task: The task.
        site: Name of the ConfigMap and of the Secret that describe the site; either may be absent.
        cpu: CPU limit, a Kubernetes quantity.
        memory: Memory limit, a Kubernetes quantity.
        cached: False for whatever reads or changes the world.
        timeout_s: Limit of one attempt in seconds, from the start of the pod.
    """
    task.set_caching_options(cached)
    task.set_env_variable("KUBELOOP_COMPILED", kubeloop.__version__)
    # kfp 2.17.0 forgets to hand resource parameters into conditions; without this the backend finds none there.
    task.register_pipeline_channels([cpu, memory])
    task.set_cpu_limit(cpu)
    task.set_memory_limit(memory)
    kubernetes.set_timeout(task, timeout_s)
    # No second volume: KFP names each after its ConfigMap or Secret, and a pod with two of one name is invalid.
    kubernetes.use_config_map_as_env(task, config_map_name=site, config_map_key_to_env={SITE: SITE_YAML}, optional=True)
    kubernetes.use_secret_as_volume(task, secret_name=site, mount_path=SECRET_FOLDER, optional=True)
    kubernetes.use_field_path_as_env(task, "KUBELOOP_NAMESPACE", "metadata.namespace")
    kubernetes.use_field_path_as_env(task, "KUBELOOP_RUN_ID", "metadata.labels['pipeline/runid']")
    return task
