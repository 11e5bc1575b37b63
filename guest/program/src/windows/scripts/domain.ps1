# A domain is joined. Prints "restart" where a restart makes it count.
$ErrorActionPreference = 'Stop'
$want = [Console]::In.ReadToEnd() | ConvertFrom-Json
$computer = Get-CimInstance Win32_ComputerSystem
if (-not ($computer.PartOfDomain -and $computer.Domain -eq $want.domain)) {
    $password = ConvertTo-SecureString $want.password -AsPlainText -Force
    $credential = New-Object Management.Automation.PSCredential($want.username, $password)
    $join = @{ DomainName = $want.domain; Credential = $credential; Force = $true; WarningAction = 'SilentlyContinue' }
    if ($want.ou) { $join['OUPath'] = $want.ou }
    if ($env:COMPUTERNAME -ne $want.hostname) { $join['NewName'] = $want.hostname }
    Add-Computer @join
    'restart'
} elseif ($env:COMPUTERNAME -ne $want.hostname) {
    $password = ConvertTo-SecureString $want.password -AsPlainText -Force
    $credential = New-Object Management.Automation.PSCredential($want.username, $password)
    Rename-Computer -NewName $want.hostname -DomainCredential $credential -Force -WarningAction SilentlyContinue
    'restart'
}
