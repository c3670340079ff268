"""How runbooks run on a worker."""

from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowRunner


def runner() -> WorkflowRunner:
    """Run them without Temporal's sandbox, which guarded nothing here and took 40 % of a workflow task's processor time.

    It guards modules that it loads anew for each run, and the runbooks and the contract were loaded once: anew, they take
    0.1 s for each run. They keep no state in their modules. What the sandbox refuses in code (clocks, random numbers,
    files), the linter refuses: `banned-api` in pyproject.toml. See docs/adr/0045-runbooks-run-without-the-sandbox.md.
    """
    return UnsandboxedWorkflowRunner()
