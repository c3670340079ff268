"""The gateway is measured with the control plane's environment, which has no client of an engine."""

import subprocess
import sys

from deploy.setup import HERE

WITHOUT = "import sys\nsys.modules.update(pymysql=None)\nimport benchmarks.gateway.__main__, os\nos._exit(0)"


def test_the_gateway_s_benchmark_needs_no_client_of_mariadb() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], cwd=HERE, check=True)
