"""The sandbox that runbooks run in."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions


def sandbox() -> SandboxedWorkflowRunner:
    """Load the runbooks and the contract once: anew for each run they take most of the time of its first task.

    They keep no state in their modules. What the sandbox would refuse in their code (clocks, random numbers, files), the
    linter refuses: `banned-api` in pyproject.toml.
    """
    return SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_modules("contract", "workflows"))
