"""The former name of `deepseek.log`, for scripts that use it."""

from deepseek.log import RunLog

__all__ = ("RunLog",)
