"""What makes the stored objects live: the controllers, the scheduler and the kubelet of the sandbox."""
