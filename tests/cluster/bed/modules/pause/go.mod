module kubeloop.local/pause

go 1.24
